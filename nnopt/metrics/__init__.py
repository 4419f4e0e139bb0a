"""Metrics of an evaluation, summed up on the device over chunks of data and read once at the end.

Conventions, those of scikit-learn unless said:
- precision, recall and F1 of a class or label are 0 where they would divide by zero.
- A macro average over classes leaves out a class with neither targets nor predictions (scikit-learn without
  `labels=`); over labels it leaves out none.
- A weighted average weights a class by its number of targets. Of one class a sample, all three micro averages are the
  accuracy.
- The area under the ROC curve and the average precision are those of class 1 where there are two classes. Of more, and
  of labels, they are the mean over each against the rest, leaving out those without a target (for the area also those
  with nothing else); where none is left, they are 0.5 and 0.
- The calibration error bins the probability of the predicted class in 15 equal parts of (0, 1] and weights the gap
  between its mean and the accuracy by the samples of a bin (Guo et al. 2017, arXiv:1706.04599, section 2).
- The Brier score is the squared distance between the probabilities and the one-hot class, summed over the classes
  (Brier 1950): 0 to 2.
- R² is the mean over target columns; one whose targets are all equal counts 1 if predicted exactly, else 0.
- The mean absolute percentage error is a share (0.1 for 10 %) and leaves out targets of 0, to within the rounding of
  their 32 bits; it is infinite where nothing else is there.
"""
